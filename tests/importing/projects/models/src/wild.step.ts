import { z } from 'zod'
import { settings } from '@company/settings'
const schema = z.object({ a: z.custom<string>(), b: z.string().transform((s) => s.length), c: z.coerce.number(), d: settings.schema })
export const config = {
  type: 'api', name: `Wild`, path: '/a*b', method: settings.method, bodySchema: schema, emits: [settings.topic],
  queryParams: settings.params, responseSchema: { 200: z.map(z.string(), z.number()) }, flows: [],
}
export const handler = async (req, { emit }) => ({ status: 200 })
