import type { TestContext } from 'node:test'
import { type Control, type ControlOptions, openControl } from '../../src/control/server.ts'
import { SILENT } from '../../src/telemetry/log.ts'
import { createPrometheus } from '../../src/telemetry/prometheus.ts'
import { createFakeNode, type FakeNode } from './fake-node.ts'

/** A control listener on a fake node, gone with the test. */
export async function openTestControl(
  t: TestContext,
  options: Partial<ControlOptions> = {},
): Promise<{ node: FakeNode; control: Control; url: string }> {
  const node = createFakeNode()
  const control = await openControl({
    node,
    listen: { host: '127.0.0.1', port: 0 },
    token: undefined,
    metrics: createPrometheus({ connectedPeers: () => 1 }),
    log: SILENT,
    ...options,
  })
  t.after(() => control.close())
  return { node, control, url: `http://${control.address}` }
}
