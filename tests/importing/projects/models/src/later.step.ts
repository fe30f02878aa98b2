export const config = { name: 'Later', triggers: [{ type: 'queue', topic: 'pet.fed' }], enqueues: [] }
export const handler = async () => {}
