import { createWriteStream, mkdirSync, type WriteStream } from 'node:fs'
import { join } from 'node:path'

/** A file for the log of each host. */
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
  };

  [Symbol.dispose](): void {
    for (const file of this.#files.values()) file.end()
  }
}
