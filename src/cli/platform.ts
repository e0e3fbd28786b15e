import { ShoalError } from '../../protocols/error.ts'

export interface Platform {
  readonly os: string
  readonly architecture: string
  readonly variant?: string | undefined
}

/** What others call an architecture, and what image indexes call it. */
const ARCHITECTURES: Readonly<Record<string, string>> = Object.freeze({
  x64: 'amd64',
  x86_64: 'amd64',
  'x86-64': 'amd64',
  aarch64: 'arm64',
  armhf: 'arm',
  ia32: '386',
  i386: '386',
  x86: '386',
  ppc64: 'ppc64le',
})
/** What is meant where an index names no variant. */
const DEFAULT_VARIANTS: Readonly<Record<string, string>> = Object.freeze({ arm: 'v7', arm64: 'v8' })

/** Parses `os/architecture[/variant]`. @throws ShoalError REQUEST_INVALID */
export function parsePlatform(text: string): Platform {
  const parts = text.toLowerCase().split('/')
  if (parts.length < 2 || parts.length > 3 || !parts.every((part) => /^[a-z0-9._-]+$/.test(part))) {
    throw new ShoalError(
      'REQUEST_INVALID',
      `not a platform: "${text.slice(0, 100)}"; expected os/architecture[/variant], such as linux/arm64`,
    )
  }
  const [os, architecture, variant] = parts as [string, string, string | undefined]
  return { os, architecture: architectureName(architecture), variant }
}

/** The platform of images that run on this host; on macOS and Windows those are Linux images in a VM. */
export function hostPlatform(architecture: string = process.arch): Platform {
  return { os: 'linux', architecture: architectureName(architecture) }
}

export function platformText({ os, architecture, variant }: Platform): string {
  return variant === undefined || variant === '' ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`
}

/** How well what is offered fits: -1 not at all, higher is better. */
export function samePlatform(offered: Platform, wanted: Platform): number {
  if (offered.os !== wanted.os || architectureName(offered.architecture) !== wanted.architecture) return -1
  const have = variantOf(offered)
  const want = variantOf(wanted)
  if (have === want) return 100
  // a newer ARM runs what was built for an older one
  const [older, newer] = [/^v(\d)$/.exec(have)?.[1], /^v(\d)$/.exec(want)?.[1]]
  return older !== undefined && newer !== undefined && older < newer ? Number(older) : -1
}

function variantOf({ architecture, variant }: Platform): string {
  return variant || (DEFAULT_VARIANTS[architecture] ?? '')
}

function architectureName(text: string): string {
  return ARCHITECTURES[text] ?? text
}
