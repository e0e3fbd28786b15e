import { createMemoryStore } from '../../src/store/memory.ts'
import { storeConformance } from '../conformance/store.ts'

storeConformance('memory', async (t, options) => {
  const store = createMemoryStore(options)
  t.after(() => store[Symbol.asyncDispose]())
  return store
})
