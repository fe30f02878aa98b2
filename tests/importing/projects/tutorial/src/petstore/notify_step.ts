import { z } from 'zod'
export const config = {
  type: 'event' as const, name: 'Notify', subscribes: ['notification', 'pet.added'], emits: [],
  input: z.object({ text: z.string() }).or(z.object({ name: z.string() })), includeFiles: ['./a.txt'],
  flows: ['petstore'],
}
export const handler = async (input: any, { logger }: any) => { logger.info(input.text ?? input.name) }
