import { spscRing } from '@isthmus/ring'

export const lines = spscRing({ capacityBytes: 4096 })
