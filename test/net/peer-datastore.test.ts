import assert from 'node:assert/strict'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { PeerDatastore } from '../../src/net/peer-datastore.ts'
import { SILENT } from '../../src/telemetry/log.ts'
import { tmp } from '../helpers/tmp.ts'

type Key = Parameters<PeerDatastore['get']>[0]

test('what was put is read at once, found by a query, and there after the next start', async (t) => {
  const path = join(await tmp(t), 'peers')
  const first = await opened(t, path)
  await first.put(key('/peers/a'), Buffer.from('1'))
  await first.put(key('/peers/a'), Buffer.from('2'))
  assert.equal(String(await first.get(key('/peers/a'))), '2')
  assert.equal(await first.has(key('/peers/a')), true)
  assert.deepEqual(await all(first), { '/peers/a': '2' })
  await first.put(key('/peers/b'), Buffer.from('3'))
  await first.close()

  const second = await opened(t, path)
  assert.equal(String(await second.get(key('/peers/b'))), '3')
  assert.deepEqual(await all(second), { '/peers/a': '2', '/peers/b': '3' })
})

test('what is deleted is gone, whether it had been written or not, one by one or in a batch', async (t) => {
  const store = await opened(t, join(await tmp(t), 'peers'))
  for (const name of ['/a', '/b', '/c', '/d']) await store.put(key(name), Buffer.from(name))
  await store.delete(key('/a'))
  await all(store)
  await store.delete(key('/b'))
  const batch = store.batch()
  batch.delete(key('/c'))
  batch.put(key('/d'), Buffer.from('new'))
  await batch.commit()
  assert.deepEqual(await all(store), { '/d': 'new' })
  assert.equal(String(await store.get(key('/d'))), 'new')
  assert.equal(await store.has(key('/c')), false)
  await assert.rejects(store.get(key('/a')), { name: 'NotFoundError' })
})

async function opened(t: TestContext, path: string): Promise<PeerDatastore> {
  const store = new PeerDatastore(path, SILENT)
  await store.open()
  t.after(() => store.close())
  return store
}

async function all(store: PeerDatastore): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  for await (const pair of store.query({})) found[pair.key.toString()] = String(Buffer.from(pair.value))
  return found
}

function key(name: string): Key {
  return { toString: () => name } as Key
}
