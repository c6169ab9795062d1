#!/usr/bin/env node
import { standIn } from "./start.js";

standIn();
