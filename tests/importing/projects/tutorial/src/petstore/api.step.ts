import type { ApiRouteConfig, Handlers } from 'motia'
import { z } from 'zod'
import { logged } from '../../middlewares/logged'
import { foodOrderSchema, petSchema } from './types'

const bodySchema = z.object({
  pet: petSchema.omit({ id: true }),
  foodOrder: z.object({ quantity: z.number() }).optional(),
})

export const config: ApiRouteConfig = {
  type: 'api',
  name: 'ApiTrigger',
  description: 'adds a pet, and may order food for it',
  flows: ['petstore'],
  method: 'POST',
  path: '/pets/:shop',
  bodySchema,
  queryParams: [{ name: 'dry', description: 'change nothing' }],
  responseSchema: { 200: petSchema, 400: z.object({ error: z.string() }) },
  middleware: [logged],
  emits: ['food.ordered', { topic: 'pet.added', label: 'always', conditional: false }],
  virtualEmits: ['shop.opened'],
}

export const handler: Handlers['ApiTrigger'] = async (req, { emit, logger, traceId }) => {
  const { pet, foodOrder } = req.body
  const added = { id: `${req.pathParams.shop}-1`, ...pet }
  logger.info('adding a pet', { name: pet.name, dry: req.queryParams.dry })
  if (foodOrder) {
    await emit({ topic: 'food.ordered', data: { id: traceId, quantity: foodOrder.quantity, petId: added.id } })
  }
  await emit({ topic: 'pet.added', data: added })
  return { status: 200, body: added }
}
