import { EventConfig, Handlers } from 'motia'
import { z } from 'zod'

export const config: EventConfig = {
  type: 'event',
  name: 'PartC',
  subscribes: ['pms.start'],
  emits: ['pms.part.done'],
  input: z.object({ value: z.number() }),
  flows: ['parallel-merge'],
}

export const handler: Handlers['PartC'] = async (input, { emit, state, traceId }) => {
  await state.set(traceId, 'c', { part: 'c', value: input.value * 2 })
  await emit({ topic: 'pms.part.done', data: { part: 'c' } })
}
