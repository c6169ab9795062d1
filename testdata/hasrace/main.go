// Command hasrace exists to find out whether the race detector can be linked.
package main

func main() {}
