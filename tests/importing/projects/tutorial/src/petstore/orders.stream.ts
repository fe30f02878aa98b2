import type { StreamConfig } from 'motia'
import { foodOrderSchema } from './types'

export const config: StreamConfig = {
  name: 'orders',
  schema: foodOrderSchema,
  baseConfig: { storageType: 'default' },
  canAccess: ({ groupId }, auth) => groupId === auth?.user,
}
