import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import { ShoalError } from '../../protocols/error.ts'
import type { DiskAnswers, DiskEvent, DiskReply, DiskRequest } from './disk-protocol.ts'

interface Call {
  resolve(answer: unknown): void
  reject(error: unknown): void
}

/** Runs from sources (.ts) and from what was compiled (.js). */
const WORKER_URL = new URL(`./disk-worker${extname(import.meta.url)}`, import.meta.url)

/** The thread on which pieces are hashed, compared, written and read. */
export class DiskThread implements AsyncDisposable {
  readonly #worker: Worker
  readonly #calls = new Map<number, Call>()
  readonly #listeners = new Map<number, (event: DiskEvent) => void>()
  #nextId = 1
  #ended: ShoalError | undefined

  constructor(options: { path: string; reserveBytes: number }) {
    this.#worker = new Worker(WORKER_URL, { name: 'shoal-disk', workerData: options, stdin: false })
    this.#worker.on('message', (message: DiskReply | DiskEvent) => this.#receive(message))
    this.#worker.on('error', (error) => this.#end(error))
    this.#worker.on('exit', () => this.#end(undefined))
    this.#worker.unref()
  }

  /** A number that names a running digest or a spool on the thread. */
  newTask(listener?: (event: DiskEvent) => void): number {
    const task = this.#nextId++
    if (listener !== undefined) this.#listeners.set(task, listener)
    return task
  }

  endTask(task: number): void {
    this.#listeners.delete(task)
  }

  /** @throws the system's error, by `code` and `message` */
  call<Request extends DiskRequest>(request: Request): Promise<DiskAnswers[Request['op']]> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    const id = this.#nextId++
    const { promise, resolve, reject } = Promise.withResolvers<DiskAnswers[Request['op']]>()
    if (this.#calls.size === 0) this.#worker.ref()
    this.#calls.set(id, { resolve: resolve as (answer: unknown) => void, reject })
    this.#worker.postMessage({ id, request })
    return promise
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended ??= new ShoalError('NODE_CLOSED', 'the store is closed')
    await this.#worker.terminate()
  }

  #receive(message: DiskReply | DiskEvent): void {
    if ('event' in message) {
      this.#listeners.get(message.task)?.(message)
      return
    }
    const call = this.#calls.get(message.id)
    this.#calls.delete(message.id)
    if (this.#calls.size === 0) this.#worker.unref()
    if ('failure' in message) call?.reject(Object.assign(new Error(message.failure.message), { code: message.failure.code }))
    else call?.resolve(message.answer)
  }

  #end(cause: unknown): void {
    this.#ended ??= new ShoalError('STORE_FAILED', 'the disk thread has ended', { cause })
    for (const call of this.#calls.values()) call.reject(this.#ended)
    this.#calls.clear()
  }
}
