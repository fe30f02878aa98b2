// The published browser packages are meant for bundlers: modules without "type", imports without endings. This does in Node what bundlers do.
import { register } from 'node:module'

const hooks = `
export async function resolve(specifier, context, next) {
  try {
    return await next(specifier, context)
  } catch (problem) {
    if (!specifier.startsWith('.')) throw problem
    return next(specifier + '.js', context)
  }
}
export async function load(url, context, next) {
  const theirs = /node_modules\\/(@motiadev\\/stream-client-browser|browser-old|react-old)\\//.test(url)
  return next(url, theirs ? { ...context, format: 'module' } : context)
}
`
register('data:text/javascript,' + encodeURIComponent(hooks))
