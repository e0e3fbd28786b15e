/** Real programs that tests need. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { promisify } from 'node:util'

const FOLDERS = ['/usr/local/bin', '/usr/bin', '/bin', '/usr/sbin', '/sbin']

/** Why a test that needs these programs can't run here; `undefined` when it can. In CI it must. */
export function missingPrograms(...names: string[]): string | undefined {
  const missing = names.filter((name) => !FOLDERS.some((folder) => isExecutable(join(folder, name))))
  if (missing.length === 0) return undefined
  const reason = `not installed: ${missing.join(', ')}`
  if (process.env.CI) throw new Error(reason)
  return reason
}

/** Runs to the end. @throws with what it printed when it fails */
export async function run(
  name: string,
  args: readonly string[],
  options: { env?: Record<string, string>; timeoutMs?: number } = {},
): Promise<string> {
  const { stdout } = await promisify(execFile)(name, [...args], {
    env: { ...process.env, ...options.env },
    timeout: options.timeoutMs ?? 60_000,
    maxBuffer: 16 * 1024 * 1024,
  })
  return stdout
}

/** Starts a server that is ended with the test. */
export function serve(t: TestContext, name: string, args: readonly string[]): { child: ChildProcess; output: () => string } {
  const child = spawn(name, [...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output = `${output}${data}`.slice(-20_000)))
  t.after(async () => {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
    const exit = once(child, 'exit')
    child.kill('SIGTERM')
    const late = setTimeout(() => child.kill('SIGKILL'), 5_000)
    await exit
    clearTimeout(late)
  })
  return { child, output: () => output }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
