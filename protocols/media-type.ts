/** RFC 6838 gives a type and a subtype 127 characters each; what is longer with its parameters is not in use. */
export const MAX_MEDIA_TYPE_BYTES = 255

const NAME = '[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}'
const TOKEN = "[A-Za-z0-9!#$%&'*+.^_`|~-]+"
const PATTERN = new RegExp(`^${NAME}/${NAME}(?: ?; ?${TOKEN}=(?:${TOKEN}|"[ !#-\\[\\]-~]*"))*$`)

/**
 * Whether this may be sent as a media type: `type/subtype` (RFC 6838, 4.2), with parameters or without. It ends up in a
 * Content-Type header of every mirror downstream, so nothing else gets that far.
 */
export function isMediaType(text: string): boolean {
  return text.length <= MAX_MEDIA_TYPE_BYTES && PATTERN.test(text)
}
