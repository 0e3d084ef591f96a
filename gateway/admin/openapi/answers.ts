/** What routes answer, by name. */

export type AnswerName =
  | 'DeadLetterChange'
  | 'DeadLetterPage'
  | 'Draining'
  | 'Health'
  | 'Leaving'
  | 'LoggedOut'
  | 'Parked'
  | 'RecordPage'
  | 'Retrying'
  | 'Session'
  | 'SpoolId'
  | 'Status'
