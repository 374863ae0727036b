import { spscRing, utf8 } from 'isthmus'

export const lines = spscRing({ capacityBytes: 4096, codec: utf8 })
