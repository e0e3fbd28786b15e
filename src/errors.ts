export { codeOf, type ErrorCode, ShoalError } from '../protocols/error.ts'
