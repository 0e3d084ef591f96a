/**
 * Asks before something is done that concerns others, or cannot be undone: a modal dialog with one
 * page for each question. Esc and Cancel do nothing; the focus begins on Cancel.
 */
import { useEffect, useRef, useState } from 'preact/hooks'

interface Question {
  readonly title: string
  readonly text: string
  /** Of the button that goes on. */
  readonly yes: string
  /** Something is destroyed by it. @default false */
  readonly isGrave?: boolean
}

interface ConfirmProps {
  /** Asked one after the other; the last yes does it. */
  readonly questions: readonly Question[]
  readonly onYes: () => void
  readonly onClose: () => void
}

export function Confirm({ questions, onYes, onClose }: ConfirmProps) {
  const dialog = useRef<HTMLDialogElement>(null)
  const cancel = useRef<HTMLButtonElement>(null)
  const [page, setPage] = useState(0)
  const question = questions[page]
  useEffect(() => dialog.current?.showModal(), [])
  useEffect(() => cancel.current?.focus(), [page])
  if (question === undefined) return null
  const goOn = (): void => {
    if (page + 1 < questions.length) {
      setPage(page + 1)
      return
    }
    onYes()
    onClose()
  }
  return (
    <dialog ref={dialog} onClose={onClose} aria-labelledby="question" aria-describedby="answer">
      <h2 id="question">{question.title}</h2>
      <p id="answer">{question.text}</p>
      {questions.length > 1 ? (
        <p class="quiet">
          Question {page + 1} of {questions.length}
        </p>
      ) : null}
      <div class="buttons">
        <button ref={cancel} type="button" onClick={onClose}>
          Cancel
        </button>
        <button type="button" class={question.isGrave ? 'grave' : 'main'} onClick={goOn}>
          {question.yes}
        </button>
      </div>
    </dialog>
  )
}
