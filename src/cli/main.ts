import { CommanderError } from 'commander'
import { codeOf, describeError, EXIT_CODES, exitCodeOf, ShoalError } from '../errors.ts'
import { createProgram } from './program.ts'
import { onStop, STOP_CODES } from './stop.ts'

/** Runs the command line. @returns the exit code */
export async function main(argv: readonly string[]): Promise<number> {
  const stopped = new AbortController()
  const isDaemon = argv[0] === 'daemon'
  // the daemon has its own way to stop
  if (!isDaemon) onStop((name) => stopped.abort(new Stopped(STOP_CODES[name])))
  try {
    await createProgram(stopped.signal).parseAsync(argv, { from: 'user' })
    return 0
  } catch (error) {
    if (stopped.signal.aborted) return (stopped.signal.reason as Stopped).exitCode
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_CODES.usage.code
    complain(error, argv.includes('--json'))
    return exitCodeOf(codeOf(error))
  }
}

class Stopped extends Error {
  readonly exitCode: number

  constructor(exitCode: number) {
    super('stopped')
    this.exitCode = exitCode
  }
}

/** One line, or with `--json` one object, on stderr. */
function complain(error: unknown, json: boolean): void {
  const { code, message } = describeError(error)
  const told = error instanceof ShoalError ? message : ((error as Error)?.message ?? String(error))
  process.stderr.write(json ? `${JSON.stringify({ error: { code, message: told } })}\n` : `shoal: ${told} [${code}]\n`)
}

/** Runs what the process was started with. */
export function runAsProgram(): void {
  // `shoal ls | head`: the reader has seen enough
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))
  const argv = process.argv.slice(2)
  void main(argv).then((code) => {
    // libp2p leaves a timer behind that would keep a closed daemon for another second
    if (argv[0] === 'daemon') process.exit(code)
    process.exitCode = code
  })
}

if (import.meta.main) runAsProgram()
