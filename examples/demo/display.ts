/** What the demo shows: live bars on a terminal, plain lines elsewhere, and a table in the end. */
import { formatBytes, formatMs, formatTable } from '../../src/cli/format.ts'
import { createProgress } from '../../src/cli/progress.ts'
import type { Pulled } from './client.ts'

export interface Row {
  readonly name: string
  readonly pulled: Pulled
  readonly originBytes: number
  readonly peerBytes: number
}

/** One phase's bars, or its lines. */
export interface Stage extends Disposable {
  follow(name: string): { onBytes(done: number, total: number): void; end(note: string): void }
}

export function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

export function openStage(): Stage {
  const live = process.stdout.isTTY === true
  const progress = createProgress({ stream: process.stdout, afterMs: 0 })
  return {
    follow(name) {
      const bar = progress.bar(name)
      return {
        onBytes: (done, total) => bar.update(done, total),
        end(note) {
          bar.end('verified')
          if (!live) say(`  ${name}: ${note}`)
        },
      }
    },
    [Symbol.dispose]: () => progress.close(),
  }
}

export function pulledNote({ bytes, ms, verified }: Pulled): string {
  return `${formatBytes(bytes)} in ${formatMs(ms)}, ${verified} digests verified`
}

export function tableOf(rows: readonly Row[]): string {
  const cells = rows.map(({ name, originBytes, peerBytes, pulled }) => [
    name,
    formatBytes(originBytes),
    formatBytes(peerBytes),
    formatMs(pulled.ms),
    `${pulled.verified} digests`,
    pulled.digest.toString().slice(0, 19),
  ])
  return formatTable(['NODE', 'FROM ORIGIN', 'FROM PEERS', 'TIME', 'VERIFIED', 'IMAGE'], cells)
}
