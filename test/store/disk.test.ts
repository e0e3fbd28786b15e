import { join } from 'node:path'
import { openDiskStore } from '../../src/store/disk.ts'
import { SILENT } from '../../src/telemetry/log.ts'
import { storeConformance } from '../conformance/store.ts'
import { tmp } from '../helpers/tmp.ts'

storeConformance('disk', async (t, options) => {
  const store = await openDiskStore({ path: join(await tmp(t), 'store'), log: SILENT, ...options })
  t.after(() => store[Symbol.asyncDispose]())
  return store
})
