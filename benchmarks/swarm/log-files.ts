import { createWriteStream, mkdirSync, type WriteStream, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { OriginRequest } from './access-log.ts'

/** A file for the log of each host, and one for the origin's. */
export class LogFiles implements Disposable {
  readonly #dir: string | undefined
  readonly #files = new Map<number, WriteStream>()

  constructor(dir: string | undefined) {
    this.#dir = dir
    if (dir !== undefined) mkdirSync(dir, { recursive: true })
  }

  readonly onLog = (host: number, line: string): void => {
    if (this.#dir === undefined) return
    let file = this.#files.get(host)
    if (file === undefined) {
      file = createWriteStream(join(this.#dir, `host-${host}.log`))
      this.#files.set(host, file)
    }
    file.write(`${line}\n`)
  }

  /** @param start of the crowd, in milliseconds since the epoch */
  keepRequests(start: number, requests: readonly OriginRequest[]): void {
    if (this.#dir === undefined) return
    const lines = requests.map((request) => JSON.stringify(request))
    writeFileSync(join(this.#dir, 'origin.log'), `${JSON.stringify({ start })}\n${lines.join('\n')}\n`)
  }

  [Symbol.dispose](): void {
    for (const file of this.#files.values()) file.end()
  }
}
