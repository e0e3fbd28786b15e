import { close, constants, fsync, open, read } from 'node:fs'
import { mkdir, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { promisify } from 'node:util'

const openFd = promisify(open)
const closeFd = promisify(close)
const readFd = promisify(read)
const syncFd = promisify(fsync)

/**
 * A file whose descriptor is opened on first use, shared with the disk thread, and closed only when nobody uses it:
 * a number that was closed too early would be another file's.
 */
export class BlobFile {
  readonly path: string
  #fd: Promise<number> | undefined
  #users = 0
  #closing = false

  constructor(path: string) {
    this.path = path
  }

  /** Opens the file, making it and its directory if need be. */
  async create(): Promise<void> {
    const flags = constants.O_RDWR | constants.O_CREAT
    await this.use(async () => {}, flags).catch((error: NodeJS.ErrnoException) => {
      // A reader was just finding out that there is no file.
      if (error.code !== 'ENOENT') throw error
      return this.use(async () => {}, flags)
    })
  }

  /** Runs `work` with a descriptor that stays open for as long. @throws the system's error, ENOENT among them */
  async use<T>(work: (fd: number) => Promise<T>, flags: number = constants.O_RDWR): Promise<T> {
    const lease = await this.hold(flags)
    try {
      return await work(lease.fd)
    } finally {
      lease.release()
    }
  }

  /** As `use`, for as long as the caller likes. */
  async hold(flags: number = constants.O_RDWR): Promise<{ readonly fd: number; release(): void }> {
    this.#users++
    this.#closing = false
    this.#fd ??= this.#open(flags)
    const opening = this.#fd
    try {
      return { fd: await opening, release: () => this.#release() }
    } catch (error) {
      if (this.#fd === opening) this.#fd = undefined
      this.#release()
      throw error
    }
  }

  /** Fills `into` from the file at `offset`. @throws ESHORT when the file ends before */
  async readInto(into: Uint8Array, offset: number): Promise<void> {
    await this.use(async (fd) => {
      for (let at = 0; at < into.length; ) {
        const { bytesRead } = await readFd(fd, into, at, into.length - at, offset + at)
        if (bytesRead === 0) throw Object.assign(new Error(`${this.path} ends at ${offset + at}`), { code: 'ESHORT' })
        at += bytesRead
      }
    })
  }

  /** Closes the descriptor, once nobody uses it. */
  close(): void {
    this.#closing = true
    this.#closeIfUnused()
  }

  async remove(): Promise<void> {
    await unlink(this.path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error
    })
  }

  async #open(flags: number): Promise<number> {
    try {
      return await openFd(this.path, flags, 0o640)
    } catch (error) {
      const makes = (flags & constants.O_CREAT) !== 0 && (error as NodeJS.ErrnoException).code === 'ENOENT'
      if (!makes) throw error
      await mkdir(dirname(this.path), { recursive: true })
      return openFd(this.path, flags, 0o640)
    }
  }

  #release(): void {
    this.#users--
    this.#closeIfUnused()
  }

  #closeIfUnused(): void {
    if (!this.#closing || this.#users > 0 || this.#fd === undefined) return
    const fd = this.#fd
    this.#fd = undefined
    fd.then(closeFd).catch(() => {})
  }
}

/** Makes a file's bytes, or a directory's names, survive power loss; a file that is gone needs nothing. */
export async function syncPath(path: string): Promise<void> {
  let fd: number
  try {
    fd = await openFd(path, constants.O_RDONLY)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  try {
    await syncFd(fd)
  } finally {
    await closeFd(fd)
  }
}
