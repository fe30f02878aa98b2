from enum import Enum
from typing import List, Literal, Optional

from pydantic import BaseModel, Field


class Kind(str, Enum):
    cat = "cat"
    dog = "dog"


class NewPet(BaseModel):
    name: str = Field(..., min_length=1, description="How it is called")
    kind: Kind = Kind.cat
    tags: List[str] = []
    owner: Optional[str] = None


class Pet(NewPet):
    id: str
    status: Literal["new", "fed"]
    friends: "list[Pet]" = Field(default_factory=list)
