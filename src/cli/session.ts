import { readFile } from 'node:fs/promises'
import { type Command, Option } from 'commander'
import { DEFAULTS } from '../config.ts'
import { formatHostPort, type HostPort, parseHostPort } from '../config-values.ts'
import { ShoalError } from '../errors.ts'
import { type ControlClient, createControlClient } from './client.ts'
import { createProgress, type Progress } from './progress.ts'

/** What every verb that talks to the daemon is given. */
export interface CommonOptions {
  readonly control: string
  readonly controlTokenFile?: string
  readonly json?: boolean
}

/** A verb at work: the daemon, the terminal, and the signal that the user wants it to stop. */
export interface Session {
  readonly client: ControlClient
  readonly json: boolean
  readonly progress: Progress
  readonly signal: AbortSignal
  /** To stdout: `text` for people, or `value` as JSON. */
  print(value: unknown, text: string): void
}

export interface Streams {
  readonly stdout: NodeJS.WriteStream
  readonly stderr: NodeJS.WriteStream
}

const DEFAULT_CONTROL = formatHostPort(DEFAULTS.control as HostPort)

export function addCommonOptions(command: Command): Command {
  return command
    .addOption(new Option('--control <host:port>', 'where the daemon listens').env('SHOAL_CONTROL').default(DEFAULT_CONTROL))
    .addOption(new Option('--control-token-file <file>', 'file with the token it asks for').env('SHOAL_CONTROL_TOKEN_FILE'))
    .option('--json', 'print JSON')
}

/** Runs one verb against the daemon. @throws what the verb throws; CONFIG_INVALID, ADDRESS_INVALID, DAEMON_UNREACHABLE */
export async function withSession(
  options: CommonOptions,
  streams: Streams,
  signal: AbortSignal,
  run: (session: Session) => Promise<void>,
): Promise<void> {
  const token = options.controlTokenFile === undefined ? undefined : await readToken(options.controlTokenFile)
  using client = createControlClient(parseHostPort(options.control), token)
  const progress = createProgress({ stream: streams.stderr })
  const json = options.json === true
  try {
    await run({
      client,
      json,
      progress,
      signal,
      print(value, text) {
        streams.stdout.write(json ? `${JSON.stringify(value)}\n` : text)
      },
    })
  } finally {
    progress.close()
  }
}

/** A token that could be guessed is no protection. */
const MIN_TOKEN_LENGTH = 16

/** Reads the file of `--control-token-file`. @throws ShoalError CONFIG_INVALID */
export async function readToken(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw new ShoalError('CONFIG_INVALID', `--control-token-file: can't read ${path} (${cause.code})`, { cause })
  })
  const token = text.trim()
  if (token.length < MIN_TOKEN_LENGTH || !/^[\x21-\x7e]+$/.test(token)) {
    throw new ShoalError(
      'CONFIG_INVALID',
      `--control-token-file: ${path} must hold one token of at least ${MIN_TOKEN_LENGTH} printable characters`,
    )
  }
  return token
}
