// The published clients of the original, unchanged, against two instances of an app on one broker: APP_A and APP_B, by a line that can be cut.
import './bundler.mjs'
import assert from 'node:assert/strict'
import net from 'node:net'
import { test } from 'node:test'
import { JSDOM } from 'jsdom'
import WebSocket from 'ws'

const { APP_A, APP_B } = process.env
const SETS = 200
globalThis.WebSocket = WebSocket

/** Ask an app to do things to streams: [stream, method, ...arguments] each. */
async function act(app, ...what) {
  const answer = await fetch(`${app}/do`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(what) })
  assert.ok(answer.ok, await answer.text())
}

async function until(check, what) {
  for (const end = Date.now() + 30_000; !check(); await new Promise((resolve) => setTimeout(resolve, 10))) {
    assert.ok(Date.now() < end, `${what}: not within 30 s`)
  }
}

/** A line to the first app, and once it was cut to the second one. It stays: the oldest client tries to come again also when it was closed. */
async function line() {
  const ends = new Set()
  let app = APP_A
  const server = net.createServer((client) => {
    const { hostname, port } = new URL(app)
    const upstream = net.connect(Number(port), hostname)
    for (const [from, to] of [[client, upstream], [upstream, client]]) {
      ends.add(from)
      from.pipe(to)
      from.on('error', () => to.destroy())
      from.on('close', () => to.destroy())
    }
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const cut = () => {
    app = APP_B
    for (const end of ends) end.destroy()
  }
  return { url: `ws://127.0.0.1:${server.address().port}/any/path?authToken=ann`, cut }
}

for (const kind of ['browser-old', 'browser-new', 'node-old', 'node-new']) {
  test(kind, { concurrency: true }, async (t) => {
    const { Stream } = await import(kind)
    const way = await line()
    const stream = new Stream(way.url)
    t.after(() => stream.close())
    const group = stream.subscribeGroup('board', kind)
    const item = stream.subscribeItem('board', kind, 'a')
    const other = stream.subscribeItem('board', `${kind} other`, 'a')
    const denied = stream.subscribeGroup('guarded', 'bob')
    const allowed = stream.subscribeGroup('guarded', 'ann')
    const heard = []
    denied.onEvent('error', (data) => heard.push(['denied', data.code]))
    group.onEvent('note', (data) => heard.push(['group', data]))
    item.onEvent('note', (data) => heard.push(['item', data]))
    const states = []
    item.addChangeListener((state) => states.push(state))
    let synced = 0
    group.addChangeListener(() => synced++)
    allowed.addChangeListener(() => synced++)
    await until(() => synced === 2 && heard.length === 1, 'syncs and the refusal')
    assert.deepEqual(heard, [['denied', 'STREAM_ACCESS_DENIED']])

    await act(APP_B, ['board', 'set', kind, 'a', { n: -1 }], ['board', 'set', kind, 'b', { n: 0 }], ['board', 'set', `${kind} other`, 'x', {}])
    await act(APP_B, ...Array.from({ length: SETS }, (_, n) => ['board', 'set', kind, 'a', { n }]))
    await until(() => states.length === SETS + 1, `${SETS} changes of one item, of which ${states.length} came`)
    assert.deepEqual(new Set(states.map((state) => state.n)).size, SETS + 1)
    await until(() => group.getState().length === 2, 'the group')
    assert.deepEqual(group.getState().find(({ id }) => id === 'a'), states.at(-1))

    await act(APP_A, ['board', 'send', { groupId: kind, id: 'a' }, { type: 'note', data: 1 }])
    await act(APP_A, ['board', 'send', { groupId: kind }, { type: 'note', data: 2 }])
    await until(() => heard.length === 4, 'events')
    assert.deepEqual(heard.slice(1).sort(), [['group', 1], ['group', 2], ['item', 1]])

    way.cut()
    await act(APP_A, ['board', 'set', kind, 'a', { n: 'while away' }], ['board', 'delete', kind, 'b'], ['board', 'set', kind, 'c', {}])
    await until(() => item.getState()?.n === 'while away', 'the item after the other instance was reached')
    await until(() => group.getState().map(({ id }) => id).sort().join() === 'a,c', 'the group after that')
    await act(APP_A, ['board', 'delete', kind, 'a'])
    await until(() => item.getState() === null && group.getState().length === 1, 'the delete')
    assert.equal(other.getState(), null)
    assert.deepEqual([denied.getState(), allowed.getState()], [[], []])
  })
}

const dom = new JSDOM('<div id="old"></div><div id="new"></div>')
Object.assign(globalThis, { window: dom.window, document: dom.window.document })
globalThis.navigator ??= dom.window.navigator

for (const kind of ['old', 'new']) {
  test(`react-${kind}`, { concurrency: true }, async (t) => {
    const { createElement: h } = await import('react')
    const { createRoot } = await import('react-dom/client')
    const { MotiaStreamProvider, useStreamGroup, useStreamItem } = await import(`react-${kind}`)
    const groupId = `react ${kind}`
    function Board() {
      const { data: items } = useStreamGroup({ streamName: 'board', groupId })
      const { data: item } = useStreamItem({ streamName: 'board', groupId, id: 'a' })
      return h('p', null, `${items.map(({ id, n }) => id + n).sort().join()} ${item?.n ?? 'none'}`)
    }
    const root = createRoot(document.getElementById(kind))
    t.after(() => root.unmount())
    const address = `${APP_A.replace('http', 'ws')}/?authToken=ann`
    root.render(h(MotiaStreamProvider, { address }, h(Board)))
    const shows = (text) => until(() => document.getElementById(kind).textContent === text, `${text}, not ${document.getElementById(kind).textContent}`)
    await shows(' none')
    await act(APP_B, ['board', 'set', groupId, 'a', { n: 1 }])
    await shows('a1 1')
    await act(APP_B, ['board', 'set', groupId, 'b', { n: 5 }])
    await act(APP_B, ['board', 'set', groupId, 'a', { n: 2 }])
    await shows('a2,b5 2')
    await act(APP_B, ['board', 'delete', groupId, 'a'])
    await shows('b5 none')
  })
}
