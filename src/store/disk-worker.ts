import { parentPort, workerData } from 'node:worker_threads'
import type { DiskEvent, DiskReply, DiskRequest } from './disk-protocol.ts'
import { DiskWork } from './disk-work.ts'

/** The disk thread: `disk-thread.ts` is its other end. */
const port = parentPort
if (port === null) throw new Error('disk-worker.ts runs as a worker thread only')

const { path, reserveBytes } = workerData as { path: string; reserveBytes: number }
const work = new DiskWork({ path, reserveBytes, tell: (event: DiskEvent) => port.postMessage(event) })

port.on('message', ({ id, request }: { id: number; request: DiskRequest }) => {
  const reply = (message: DiskReply) => port.postMessage(message)
  try {
    work.do(request, (answer) => reply({ id, answer }))
  } catch (error) {
    const { code, message } = error as { code?: string; message: string }
    reply({ id, failure: { code: code ?? 'EUNKNOWN', message } })
  }
})
