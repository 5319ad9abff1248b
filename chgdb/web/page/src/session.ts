// The page's side of a worker: one density, questions, answers.
import type { Meta, Methods } from './worker'

type Answer<M extends keyof Methods> = Awaited<ReturnType<Methods[M]>>

/** Where the worker's source is: a file beside the page, or in the page itself. */
let workerUrl: string | undefined
export function setWorker(source: { url?: string; text?: string }) {
  workerUrl = source.url ?? URL.createObjectURL(new Blob([source.text ?? ''], { type: 'text/javascript' }))
}

export class Session {
  private worker: Worker
  private waiting = new Map<number, { resolve(x: any): void; reject(e: Error): void }>()
  private next = 0
  private failed?: Error
  onPreview?: (meta: Meta) => void

  constructor() {
    this.worker = new Worker(workerUrl!)
    this.worker.onmessage = ({ data }) => {
      if (data.event === 'preview') return this.onPreview?.(data.meta)
      const waiting = this.waiting.get(data.id)
      this.waiting.delete(data.id)
      if (data.error !== undefined) waiting?.reject(new Error(data.error))
      else waiting?.resolve(data.result)
    }
    this.worker.onerror = (event) => {
      event.preventDefault()
      this.failed = new Error(`the worker failed: ${event.message ?? 'its file cannot be read'}`)
      for (const { reject } of this.waiting.values()) reject(this.failed)
      this.waiting.clear()
    }
  }

  ask<M extends keyof Methods>(method: M, args: Parameters<Methods[M]>[0]): Promise<Answer<M>> {
    if (this.failed) return Promise.reject(this.failed)
    return new Promise((resolve, reject) => {
      this.waiting.set(++this.next, { resolve, reject })
      this.worker.postMessage({ id: this.next, method, args })
    })
  }

  close() {
    this.worker.terminate()
    this.failed = new Error('closed')
    for (const { reject } of this.waiting.values()) reject(this.failed)
    this.waiting.clear()
  }
}

/** Of many calls while one runs only the last is made: what a slider asks for. */
export function latest<A extends unknown[]>(run: (...args: A) => Promise<void>): (...args: A) => void {
  let busy = false
  let next: A | undefined
  return async (...args: A) => {
    next = args
    if (busy) return
    busy = true
    while (next) {
      const now = next
      next = undefined
      await run(...now)
    }
    busy = false
  }
}
