/** Requests to the admin server since the start, by outcome; observe reads them at each scrape. */
export interface AdminStats {
  ok: number
  refused: number
  failed: number
}

export function createAdminStats(): AdminStats {
  return { ok: 0, refused: 0, failed: 0 }
}
