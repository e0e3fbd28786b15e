import { ShoalError } from '../protocols/error.ts'
import { isRegistryName } from '../protocols/reference.ts'

/** Stands for every origin that has no entry of its own. */
export const ALL_OTHERS = '*'

const RATE = /^(\d{1,12}(?:\.\d{1,6})?) ?([kKMGT]|[KMGT]i)?(B|bit)\/s$/
const FACTORS: Readonly<Record<string, number>> = Object.freeze({
  '': 1,
  k: 1e3,
  K: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
})
/** Slower, a piece would take minutes and look dead to everybody. */
const MIN_BYTES_PER_SECOND = 10_000
const MAX_BYTES_PER_SECOND = 1e12
const MAX_REQUESTS = 256

/** Parses `100MiB/s`, `50Mbit/s`, …; `off` is `undefined`. @returns bytes a second @throws ShoalError CONFIG_INVALID */
export function parseRate(text: string): number | undefined {
  if (text === 'off') return undefined
  const [, number, prefix = '', unit] = RATE.exec(text) ?? []
  if (number === undefined) {
    throw new ShoalError('CONFIG_INVALID', 'a rate is a number with its unit, such as 100MiB/s, 1.5GB/s or 50Mbit/s, or off')
  }
  const bytesPerSecond = (Number(number) * (FACTORS[prefix] as number)) / (unit === 'bit' ? 8 : 1)
  if (bytesPerSecond < MIN_BYTES_PER_SECOND) throw new ShoalError('CONFIG_INVALID', 'less than 10kB/s')
  if (bytesPerSecond > MAX_BYTES_PER_SECOND) throw new ShoalError('CONFIG_INVALID', 'more than 1TB/s')
  return bytesPerSecond
}

/** Bytes a second as people write it. */
export function formatRate(bytesPerSecond: number | undefined): string {
  if (bytesPerSecond === undefined) return 'off'
  const [unit, factor] =
    (['GiB', 'MiB', 'KiB'] as const)
      .map((name) => [name, FACTORS[name.slice(0, 2)] as number] as const)
      .find(([, size]) => bytesPerSecond >= size) ?? (['B', 1] as const)
  return `${Number((bytesPerSecond / factor).toFixed(1))}${unit}/s`
}

/** Parses `NAME=N`, or `N` for all others. @throws ShoalError CONFIG_INVALID */
export function parseOriginRequests(text: string): [name: string, requests: number] {
  const [name, value] = named(text)
  const requests = /^\d{1,4}$/.test(value) ? Number(value) : 0
  if (requests < 1 || requests > MAX_REQUESTS) throw new ShoalError('CONFIG_INVALID', `N is from 1 to ${MAX_REQUESTS}`)
  return [name, requests]
}

/** Parses `NAME=RATE`, or `RATE` for each of all others. @throws ShoalError CONFIG_INVALID */
export function parseOriginRate(text: string): [name: string, bytesPerSecond: number | undefined] {
  const [name, value] = named(text)
  return [name, parseRate(value)]
}

function named(text: string): [name: string, value: string] {
  const at = text.lastIndexOf('=')
  if (at < 0) return [ALL_OTHERS, text]
  const name = text.slice(0, at).toLowerCase()
  if (name !== ALL_OTHERS && !isRegistryName(name)) {
    throw new ShoalError('CONFIG_INVALID', 'the part before = is not the name of a registry or host')
  }
  return [name, text.slice(at + 1).trim()]
}
