import { spawn } from 'node:child_process'
import { buffer } from 'node:stream/consumers'

export interface Ran {
  readonly code: number | null
  readonly stdout: Buffer
  readonly stderr: string
}

export const MAIN = new URL('../../src/cli/main.ts', import.meta.url).pathname

/** Runs the command as a shell would. `onStart` may send it a signal. */
export async function runShoal(
  args: readonly string[],
  options: { stdin?: Uint8Array; env?: Record<string, string>; onStart?: (kill: (signal: NodeJS.Signals) => void) => void } = {},
): Promise<Ran> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', MAIN, ...args], {
    env: { ...cleanEnv(), ...options.env },
  })
  const ended = new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve))
  child.stdin.on('error', () => {})
  child.stdin.end(options.stdin)
  options.onStart?.((signal) => child.kill(signal))
  const [stdout, stderr, code] = await Promise.all([buffer(child.stdout), buffer(child.stderr), ended])
  return { code, stdout, stderr: String(stderr) }
}

/** This process's environment without what would configure a daemon or make it think that it is a test file. */
export function cleanEnv(): Record<string, string | undefined> {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('SHOAL_')))
}
