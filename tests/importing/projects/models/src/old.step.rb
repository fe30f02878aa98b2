class Config; end
