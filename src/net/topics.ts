import { type GossipSub, type Message, TopicValidatorResult } from '@libp2p/gossipsub'
import type { TopicMessage, Topics, Verdict } from './host.ts'

/** More than any of shoal's gossip needs; a larger message costs who forwarded it. */
export const MAX_TOPIC_MESSAGE_BYTES = 64 << 10

const RESULTS: Readonly<Record<Verdict, TopicValidatorResult>> = Object.freeze({
  accept: TopicValidatorResult.Accept,
  ignore: TopicValidatorResult.Ignore,
  reject: TopicValidatorResult.Reject,
})

export function createTopics(gossip: GossipSub): Topics {
  const listeners = new Map<string, (message: TopicMessage) => void>()
  gossip.addEventListener('message', ({ detail }) => {
    if (detail.type === 'signed') listeners.get(detail.topic)?.(read(detail))
  })
  return {
    subscribe: (topic, validate, onMessage) => {
      listeners.set(topic, onMessage)
      gossip.topicValidators.set(topic, (_forwarder, message) => RESULTS[judge(message, validate)])
      gossip.subscribe(topic)
    },
    publish: async (topic, data) => {
      if (data.byteLength > MAX_TOPIC_MESSAGE_BYTES) throw new TypeError(`a gossip message of ${data.byteLength} bytes`)
      await gossip.publish(topic, data)
    },
  }
}

function judge(message: Message, validate: (message: TopicMessage) => Verdict): Verdict {
  if (message.type !== 'signed' || message.data.byteLength > MAX_TOPIC_MESSAGE_BYTES) return 'reject'
  return validate(read(message))
}

function read(message: Extract<Message, { type: 'signed' }>): TopicMessage {
  return { author: message.from.toString(), data: message.data }
}
