import { hostConformance } from '../conformance/host.ts'
import { openTestHost } from './test-host.ts'

hostConformance('libp2p', async () => [await openTestHost(), await openTestHost()])
