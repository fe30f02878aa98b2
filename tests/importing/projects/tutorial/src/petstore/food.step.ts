import { EventConfig, Handlers } from 'motia'
import { foodOrderSchema, petSchema } from './types'

export const config: EventConfig = {
  type: 'event',
  name: 'ProcessFoodOrder',
  flows: ['petstore'],
  subscribes: ['food.ordered'],
  emits: ['notification'],
  input: foodOrderSchema,
  infrastructure: { handler: { timeout: 60, ram: 512 }, queue: { type: 'fifo', maxRetries: 2, delaySeconds: 1 } },
}

export const handler: Handlers['ProcessFoodOrder'] = async (input, { emit, state, streams }) => {
  const order = { ...input, status: 'approved' as const }
  await state.set('orders', input.id, order)
  await streams.orders.set('all', input.id, order)
  await emit({ topic: 'notification', data: { text: `order ${input.id} of ${input.petId}` } })
}
