import { NoopConfig } from 'motia'
export const config: NoopConfig = { type: 'noop', name: 'Human', virtualSubscribes: ['shop.opened'], virtualEmits: [], flows: ['petstore'] }
