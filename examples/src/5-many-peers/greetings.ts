import { spscRing, struct, utf8 } from 'isthmus'

const ring = () => spscRing({ capacityBytes: 4096, codec: utf8 })
export const greetings = struct({ anna: ring(), bela: ring(), carla: ring() })
export type Guest = 'anna' | 'bela' | 'carla'
