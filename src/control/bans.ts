import type { ServerResponse } from 'node:http'
import { ShoalError } from '../errors.ts'
import type { BanInfo } from '../shoal-node.ts'
import { answerJson } from './answer.ts'
import type { ControlBackend } from './backend.ts'
import type { Route } from './route.ts'

type BanRoute = Extract<Route, { type: 'ban' }>

/** `GET /v1/bans`: the statements themselves are long; `GET /v1/bans/{peerId}` has them. */
export function listBans(res: ServerResponse, node: ControlBackend): void {
  const bans = node.bans().map(({ evidence, ...ban }) => ({ ...ban, evidence: evidence.map(withoutStatement) }))
  answerJson(res, 200, { bans })
}

/** `GET`, `PUT` and `DELETE /v1/bans/{peerId}`. */
export async function answerBan(res: ServerResponse, to: BanRoute, node: ControlBackend): Promise<void> {
  const { peerId, reason, forMs } = to
  switch (to.method) {
    case 'PUT': {
      const options = { ...(reason === undefined ? {} : { reason }), ...(forMs === undefined ? {} : { forMs }) }
      return answerJson(res, 200, await node.ban(peerId, options))
    }
    case 'DELETE':
      if (!(await node.unban(peerId))) throw notBanned(peerId)
      res.writeHead(204).end()
      return
    default: {
      const ban = node.bans().find((one) => one.peerId === peerId)
      if (ban === undefined) throw notBanned(peerId)
      answerJson(res, 200, ban)
    }
  }
}

function withoutStatement({ statement: _, ...rest }: BanInfo['evidence'][number]): object {
  return rest
}

function notBanned(peerId: string): ShoalError {
  return new ShoalError('PEER_NOT_BANNED', `${peerId} is not banned`)
}
