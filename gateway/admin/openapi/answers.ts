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
  | 'SinkPreview'
  | 'SinkTrial'
  | 'SpoolId'
  | 'Status'
  | 'TestReading'
  | 'VerifyReport'
