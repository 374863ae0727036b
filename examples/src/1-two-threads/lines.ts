import { spscRing } from 'isthmus'

export const lines = spscRing({ capacityBytes: 4096 })
