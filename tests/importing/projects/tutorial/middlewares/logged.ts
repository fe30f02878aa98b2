import type { ApiMiddleware } from 'motia'

export const logged: ApiMiddleware = async (req, ctx, next) => {
  ctx.logger.info('request', { headers: Object.keys(req.headers).length })
  return next()
}
