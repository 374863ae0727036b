import { array, spscRing, utf8 } from 'isthmus'

export const names = ['anna', 'bela', 'carla']

/** A ring for each guest. */
export const greetings = array(spscRing({ capacityBytes: 4096, codec: utf8 }), names.length)
