import { createMemoryNetwork } from '../../src/net/memory.ts'
import { hostConformance } from '../conformance/host.ts'

hostConformance('memory', async () => {
  const network = createMemoryNetwork()
  return [network.host(), network.host()]
})
