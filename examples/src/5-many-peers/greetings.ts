import { spscRing, struct } from 'isthmus'

const ring = () => spscRing({ capacityBytes: 4096 })
export const greetings = struct({ anna: ring(), bela: ring(), carla: ring() })
export type Guest = 'anna' | 'bela' | 'carla'
