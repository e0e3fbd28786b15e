import { Command, Option } from 'commander'
import { formatZone } from '../../protocols/zone.ts'
import { CONFIG_KEYS, type ConfigKey, DEFAULTS, keyName, SETTINGS, variableName } from '../config.ts'
import { formatHostPort, type HostPort } from '../config-values.ts'
import { EXIT_CODES } from '../errors.ts'
import { formatRate } from '../rates.ts'
import { VERSION } from '../version.ts'
import { add } from './add.ts'
import { type BanOptions, ban } from './ban.ts'
import { runDaemon } from './daemon.ts'
import { type GetOptions, get } from './get.ts'
import { ls } from './ls.ts'
import { bannedPeers, peers } from './peers.ts'
import { rm } from './rm.ts'
import { addCommonOptions, type CommonOptions, type Session, withSession } from './session.ts'
import { status } from './status.ts'
import { unban } from './unban.ts'

/** The command line, without running it. */
export function createProgram(signal: AbortSignal): Command {
  const streams = { stdout: process.stdout, stderr: process.stderr }
  const program = new Command('shoal')
    .description('A peer-to-peer content distribution node: each byte leaves the registry once, every piece is verified.')
    .version(VERSION, '-V, --version')
    .exitOverride()
    .addHelpText('after', exitCodeHelp())

  const daemon = program
    .command('daemon')
    .description('run a node: a registry mirror for this host, and a peer for the others')
    .addOption(new Option('--config <file>', 'YAML file with the same keys').env('SHOAL_CONFIG'))
    .option('--json', 'print one line of JSON when it is ready')
    .addHelpText(
      'after',
      '\nEach flag is also a key of the file and a variable SHOAL_…; flag before variable before file before default.',
    )
  for (const key of CONFIG_KEYS) daemon.addOption(settingOption(key))
  daemon.action(async ({ config, json, ...flags }: { config?: string; json?: boolean; [flag: string]: unknown }) => {
    await runDaemon({ configFile: config, json: json === true, flags: flags as Record<string, string | string[]> })
  })

  /** Adds a verb that talks to the daemon. */
  function verb<A extends unknown[], O>(
    usage: string,
    description: string,
    run: (session: Session, options: O, ...args: A) => Promise<void>,
  ): Command {
    return addCommonOptions(program.command(usage).description(description)).action(async (...given: unknown[]) => {
      const args = given.slice(0, -2) as A
      const options = given.at(-2) as CommonOptions & O
      await withSession(options, streams, signal, (session) => run(session, options, ...args))
    })
  }

  verb<[string], GetOptions>(
    'get <what>',
    'bring a blob (digest, or URL with --digest) or an image (registry reference) into the node',
    (session, options, what) => get(what, options, session, streams),
  )
    .option('-o, --output <path>', 'also write it: a file, - for stdout; for an image a folder, as OCI layout')
    .option('--digest <digest>', 'what the content of a URL must be')
    .option('--origin <url|registry/repository>', 'where the blob of a digest may come from if no peer has it')
    .option('--platform <os/arch[/variant]>', "of an image for several; default is this host's")
    .option('--all-platforms', 'the images for all platforms')
  verb<[string[]], { mediaType?: string }>(
    'add <file...>',
    'share files (- is stdin) and print their digests',
    (session, options, files) => add(files, options, session),
  ).option('--media-type <type>', 'the Content-Type it is served with')
  verb('ls', 'list what the node holds', ls)
  verb<[string[]], unknown>('rm <digest...>', 'let go of blobs', (session, _, digests) => rm(digests, session))
  verb<[], { banned?: boolean }>('peers', 'list the peers that the node knows', (session, options) =>
    options.banned === true ? bannedPeers(session) : peers(session),
  ).option('--banned', 'only those that it does not deal with, and why')
  verb<[string], BanOptions>('ban <peer>', 'deal with a peer no more', (session, options, peer) => ban(peer, options, session))
    .option('--for <duration>', 'for how long: 90s, 30m, 12h, 7d (default 1d)')
    .option('--reason <text>', 'what "shoal peers" says of it')
  verb<[string[]], unknown>('unban <peer...>', 'deal with banned peers again', (session, _, texts) => unban(texts, session))
  verb('status', 'show what the node is and does', status)
  return program
}

function settingOption(key: ConfigKey): Option {
  const { value, list, about } = SETTINGS[key]
  return new Option(`--${keyName(key)} <${value}${list ? '...' : ''}>`, `${about}${defaultText(key)} [${variableName(key)}]`)
}

/** As it would be written as a flag. */
function defaultText(key: ConfigKey): string {
  if (key === 'dataDir') return ' (default ~/.local/share/shoal, for root /var/lib/shoal)'
  if (key === 'uploadRate' || key === 'downloadRate') return ` (default ${formatRate(DEFAULTS[key])})`
  const preset: unknown = DEFAULTS[key]
  if (typeof preset === 'boolean') return ` (default ${preset ? 'on' : 'off'})`
  if (typeof preset === 'string') return ` (default ${preset})`
  if (Array.isArray(preset)) return preset.length === 0 ? '' : ` (default ${preset.join(', ')})`
  if (key === 'zone') return ` (default ${formatZone(DEFAULTS.zone)})`
  return key === 'mirror' || key === 'control' ? ` (default ${formatHostPort(DEFAULTS[key] as HostPort)})` : ''
}

function exitCodeHelp(): string {
  const lines = Object.values(EXIT_CODES).map(({ code, meaning }) => `  ${code}  ${meaning}`)
  return ['', 'Exit codes:', ...lines, '  130, 143  stopped by SIGINT, SIGTERM before it was done'].join('\n')
}
