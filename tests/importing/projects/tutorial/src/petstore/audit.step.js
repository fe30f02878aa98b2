/** @type {import('motia').CronConfig} */
const config = { type: 'cron', name: 'AuditOrders', cron: '0 0 * * 1', flows: ['petstore'], emits: ['notification'] }

const handler = async ({ emit, state }) => {
  for (const order of await state.getGroup('orders')) {
    if (order.status === 'placed') await emit({ topic: 'notification', data: { text: order.id } })
  }
}

module.exports = { config, handler }
