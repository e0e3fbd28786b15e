import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { TestContext } from 'node:test'
import type { NodeStatus } from '../../src/node.ts'
import { cleanEnv, MAIN } from './run-shoal.ts'

export interface StartedDaemon {
  readonly child: ChildProcess
  readonly dataDir: string
  readonly status: NodeStatus
  /** Sends a signal and waits for the end. @returns the exit code, and how long it took */
  stop(signal?: NodeJS.Signals): Promise<{ code: number | null; ms: number }>
}

/** Starts a daemon on free ports of loopback, waits for its ready line, and ends it with the test. */
export async function startDaemon(t: TestContext, flags: readonly string[] = [], dataDir?: string): Promise<StartedDaemon> {
  const dir = dataDir ?? (await mkdtemp(join(tmpdir(), 'shoal-daemon-')))
  const listeners = [
    '--mirror',
    '127.0.0.1:0',
    '--control',
    '127.0.0.1:0',
    '--listen',
    '/ip4/127.0.0.1/tcp/0',
    '--log-level',
    'warn',
  ]
  const args = ['--disable-warning=ExperimentalWarning', MAIN, 'daemon', '--json', '--data-dir', dir, ...listeners, ...flags]
  const child = spawn(process.execPath, args, { env: cleanEnv(), stdio: ['ignore', 'pipe', 'inherit'] })
  const exit = once(child, 'exit')
  t.after(async () => {
    child.kill('SIGKILL')
    await exit
    await rm(dir, { recursive: true, force: true })
  })
  const ready = once(createInterface({ input: child.stdout }), 'line')
  const first = await Promise.race([ready, exit.then(([code]) => Promise.reject(new Error(`the daemon ended with ${code}`)))])
  return {
    child,
    dataDir: dir,
    status: JSON.parse(String(first[0])) as NodeStatus,
    async stop(signal = 'SIGTERM') {
      const beganAt = performance.now()
      child.kill(signal)
      const [code] = (await exit) as [number | null]
      return { code, ms: performance.now() - beganAt }
    },
  }
}
