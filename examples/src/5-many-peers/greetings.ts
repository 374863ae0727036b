import { spscRing } from '@isthmus/ring'
import { struct } from '@isthmus/sync'

const ring = () => spscRing({ capacityBytes: 4096 })
export const greetings = struct({ anna: ring(), bela: ring(), carla: ring() })
export type Guest = 'anna' | 'bela' | 'carla'
