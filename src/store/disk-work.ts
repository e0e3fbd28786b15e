import { createHash, hash as hashOf } from 'node:crypto'
import { readSync, statfsSync, writeSync } from 'node:fs'
import type { DiskAnswers, DiskEvent, DiskRequest } from './disk-protocol.ts'
import { RunningHash } from './running-hash.ts'
import { Spool } from './spool.ts'

type Request<Op extends DiskRequest['op']> = Extract<DiskRequest, { op: Op }>
type Answer = DiskAnswers[keyof DiskAnswers]

const SCRATCH_BYTES = 1024 * 1024

/** An error that crosses threads by its code. */
export class DiskWorkError extends Error {
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

/** What the disk thread does, one request after the other; when there is none, it reads back what running digests wait for. */
export class DiskWork {
  readonly #path: string
  readonly #reserveBytes: number
  readonly #tell: (event: DiskEvent) => void
  readonly #hashes = new Map<number, RunningHash>()
  readonly #spools = new Map<number, Spool>()
  readonly #finishing = new Map<number, { hex: string; answer: (answer: Answer) => void }>()
  #scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES)
  #stepping = false

  constructor(options: { path: string; reserveBytes: number; tell: (event: DiskEvent) => void }) {
    this.#path = options.path
    this.#reserveBytes = options.reserveBytes
    this.#tell = options.tell
  }

  /** Calls back with the answer, at once for all but `finish`. @throws what the system said */
  do(request: DiskRequest, answer: (answer: Answer) => void): void {
    if (request.op === 'finish') {
      this.#finishing.set(request.task, { hex: request.hex, answer })
      this.#step()
      return
    }
    answer(this.#do(request))
  }

  #do(request: Exclude<DiskRequest, { op: 'finish' }>): Answer {
    switch (request.op) {
      case 'put':
        return this.#put(request)
      case 'read':
        return this.#read(request)
      case 'hash':
        return this.#hash(request)
      case 'begin':
        this.#hashes.set(request.task, new RunningHash(request, (fd, offset, length) => this.#readBack(fd, offset, length)))
        return this.#step()
      case 'dropped':
        this.#hashes.get(request.task)?.forget(request.index)
        return this.#step()
      case 'end':
        this.#hashes.delete(request.task)
        return undefined
      case 'append':
        return this.#append(request)
      case 'seal':
        return this.#seal(request)
    }
  }

  #put({ fd, offset, bytes, must, whole, task, index }: Request<'put'>): Uint8Array | 'mismatch' {
    const hash = hashOf('sha256', bytes, 'buffer')
    if (!must.every((each) => hash.equals(each))) return 'mismatch'
    if (whole !== undefined && hashOf(whole.algorithm, bytes, 'hex') !== whole.hex) return 'mismatch'
    this.#write(fd, bytes, offset)
    if (task !== undefined) {
      this.#hashes.get(task)?.offer(index, bytes)
      this.#step()
    }
    return hash
  }

  #read({ fd, offset, into, hash }: Request<'read'>): boolean {
    readFully(fd, into, offset)
    return hashOf('sha256', into, 'buffer').equals(hash)
  }

  #hash({ fd, offset, length }: Request<'hash'>): Uint8Array {
    const hash = createHash('sha256')
    for (let at = 0; at < length; at += SCRATCH_BYTES) {
      hash.update(this.#readBack(fd, offset + at, Math.min(SCRATCH_BYTES, length - at)))
    }
    return hash.digest()
  }

  #append({ spool: id, fd, algorithm, bytes }: Request<'append'>): undefined {
    const spool = this.#spools.get(id) ?? new Spool(algorithm)
    this.#spools.set(id, spool)
    this.#write(fd, bytes, spool.size)
    spool.update(bytes)
  }

  #seal({ spool: id }: Request<'seal'>): Answer {
    const spool = this.#spools.get(id)
    this.#spools.delete(id)
    return spool?.seal()
  }

  #write(fd: number, bytes: Uint8Array, offset: number): void {
    const { bavail, bsize } = statfsSync(this.#path)
    if (bavail * bsize - bytes.length < this.#reserveBytes) {
      throw new DiskWorkError('ENOSPC', `less than ${this.#reserveBytes} bytes would be left on the disk`)
    }
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at, offset + at)
  }

  #readBack(fd: number, offset: number, length: number): Uint8Array {
    if (this.#scratch.length < length) this.#scratch = Buffer.allocUnsafeSlow(length)
    const into = this.#scratch.subarray(0, length)
    readFully(fd, into, offset)
    return into
  }

  /** One piece for each digest that can go on, then whatever came in meanwhile, then the next. */
  #step(): undefined {
    if (this.#stepping) return
    this.#stepping = true
    setImmediate(() => {
      this.#stepping = false
      for (const [task, hash] of this.#hashes) this.#advance(task, hash)
    })
  }

  #advance(task: number, hash: RunningHash): void {
    if (hash.ready) {
      const result = hash.step()
      if (result !== undefined) this.#tell({ task, ...result })
      this.#step()
      return
    }
    const finishing = this.#finishing.get(task)
    if (finishing === undefined) return
    this.#finishing.delete(task)
    finishing.answer(hash.done ? hash.result(finishing.hex) : 'missing')
  }
}

function readFully(fd: number, into: Uint8Array, offset: number): void {
  for (let at = 0; at < into.length; ) {
    const count = readSync(fd, into, at, into.length - at, offset + at)
    if (count === 0) throw new DiskWorkError('ESHORT', `the file ends at ${offset + at}`)
    at += count
  }
}
