import { z } from 'zod'

/** What the shop sells to. */
export const petSchema = z.object({
  id: z.string(),
  name: z.string().min(1).describe('How it is called'),
  tags: z.array(z.string()).optional(),
})

export const orderStatus = z.enum(['placed', 'approved', 'delivered'])

export const foodOrderSchema = z.object({
  id: z.string(),
  quantity: z.number().int().positive(),
  petId: petSchema.shape.id,
  status: orderStatus.default('placed'),
  note: z.string().nullable().optional(),
})

export type Pet = z.infer<typeof petSchema>
export type FoodOrder = z.infer<typeof foodOrderSchema>
